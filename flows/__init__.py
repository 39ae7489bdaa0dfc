"""What a person runs: `python -m flows.train params/quickstart.yaml`."""
