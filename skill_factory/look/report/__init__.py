"""One page that shows a dataset, a run, or what a model wrote: numbers drawn, and traces to read."""
