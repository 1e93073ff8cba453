"""The specification: every optimizer and loss in plain float64 NumPy, written from the papers.

Nothing here imports the package, Keras or a backend. Slow and obvious is right.
"""
