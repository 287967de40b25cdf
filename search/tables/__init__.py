"""Tables: trials -> pandas frames -> CSV files, and back."""
