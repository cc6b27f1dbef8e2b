"""Side-by-side timings, as ratios: `python -m tools.bench [NAME]...`."""
