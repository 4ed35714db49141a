"""Model servers that a run starts itself: started, waited for, watched, and ended with the run."""
