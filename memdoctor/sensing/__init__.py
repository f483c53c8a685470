"""The real world: allocator counters, cards and processes, hooks, graphs and the heap."""
