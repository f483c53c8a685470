"""What CUDA operators allocate beside their outputs, one family per file.

Pure functions of shapes in elements and of the card; results are bytes, in the order of allocation, before the
allocator rounds them. Read from the sources that each names, and checked against recordings of PyTorch's CUDA build
(torch 2.12.1).
"""
