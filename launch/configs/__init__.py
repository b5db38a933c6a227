"""Run files, one for each run: `--config=launch/configs/NAME.py`."""
