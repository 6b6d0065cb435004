"""The ranks of Penstock's torch engine, started by torchrun and fed by Node. See docs/distributed.md."""
