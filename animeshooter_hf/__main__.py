"""`python -m animeshooter_hf VERB` is the same as `animeshooter VERB`."""

from animeshooter_hf.command_line import main

if __name__ == "__main__":
    raise SystemExit(main())
