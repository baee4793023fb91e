"""The compiled search: slack induction by string removals over exact route labels.

`tables` turns a problem into arrays, `route` keeps the labels of a route and prices insertions in O(1), `change` changes one,
`ruin` and `recreate` take jobs out and put them back, `undo` takes back what does not pay, `search` anneals, `engine` runs it in
slices from Python. All compiled functions release the interpreter's lock.
"""
