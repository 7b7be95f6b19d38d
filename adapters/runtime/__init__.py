"""The shell around a connector core: one event loop that feeds it, commits its events and carries out its
effects."""
