"""From a trained model to its use: a gallery that grows, searches in it, a network for elsewhere.

In: a model file, folders of tracklets, queries. Out: an index of vectors (a LanceDB table), ranked
lists for people and for programs, an ONNX file, a listing of the run store. May use all rooms but
``paper``.
Files: ledger, export, shelf -> index -> search.
"""
