"""The ranks of Penstock's torch engine: torchrun starts them, Node feeds them. See docs/distributed.md."""
