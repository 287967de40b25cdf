"""Pictures: designs drawn from their plans, as SVG and PNG."""
