"""The search: Optuna proposes designs, workers train them, tables rank them, fresh seeds confirm.

`python -m search.<verb>` is `search/<verb>.py`. Data flow through the packages `confirmation`,
`conductors` (a command's whole run), `exports` and `predictions`; `checks` stands beside them.
"""
