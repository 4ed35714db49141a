"""What a report says of files of chats: what a model answered, or a dataset made elsewhere."""
from skill_factory.look.report.contents import Report
def of_chats(files, options): raise NotImplementedError
