"""What a report says of a run's folder."""
from skill_factory.look.report.contents import Report
def of_run(view, options): raise NotImplementedError
