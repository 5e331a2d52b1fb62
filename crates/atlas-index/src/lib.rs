//! Search structures derived from the store: lexical, flat, graph, fusion.
