"""The search: Optuna proposes designs, workers train them, tables rank them."""
