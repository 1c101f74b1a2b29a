"""Run units of work: receipts on any file system, one process per slot, launchers for clusters."""
