"""Run units of work: what was done is known from files, and one bad film harms no other.

store.py    files under a folder or an fsspec URL, written whole or not at all
stage.py    a stage, what it gets and what it gives; the key by which its result is known
ledger.py   receipts and failures: status, retry, explain
slot.py     one worker process: started, watched, killed;  worker.py what runs in it
runner.py   the local runner: which unit next, time and memory limits, quarantine
scale.py    the same runner as a rank of Slurm, Ray or HF Jobs (datatrove)
"""
