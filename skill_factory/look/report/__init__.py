"""One page that shows a dataset, a run, or what a model wrote: numbers, and traces to read."""
