"""The tables of three papers in their own layout: ours beside what is printed, never in one column.

What a table looks like, and which of our cells belongs where, is data: `layouts/<paper>/<name>.toml`.
"""
