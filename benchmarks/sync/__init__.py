"""The sync server beside its peers and beside a bare floor: one workload, one machine, one call."""
