"""Why a job's work cannot be done: the problems of the kinds. Below 500: repeating it would change nothing."""

from shared.problems import NotFound, Problem, ServiceUnavailable


class FileNotFound(NotFound):
    """The file does not exist, or it is one that the person may not see."""

    status, title = 404, "No such file"
    remedy = "Check the id, and that the person who asks uploaded it, in the same tenant."


class FileTooLarge(Problem):
    """The file is larger than this kind of job works on."""

    status, title = 413, "The file is too large for this job"
    remedy = "Split the file; a CSV file may be larger than a JSON file."


class FileNotText(Problem):
    """The file is no UTF-8 text."""

    status, title = 422, "The file is not UTF-8 text"
    remedy = "Save the file as UTF-8, or choose an operation that reads any bytes."


class FileNotTabular(Problem):
    """The file holds no rows: it is neither CSV with a header nor a JSON list of objects."""

    status, title = 422, "The file holds no table"
    remedy = "Upload CSV with a header row, a JSON list of objects, or one JSON object a line."


class FieldNotInRows(Problem):
    """No row has the field that the operation works on."""

    status, title = 422, "No row has the field"
    remedy = "Check the field's spelling against the keys of the rows or the header of the file."


class FieldNotNumeric(Problem):
    """A row holds something other than a number in the field that is to be calculated with."""

    status, title = 422, "The field is not numeric"
    remedy = "Correct the row that the detail names; a missing value is null, absent, or an empty cell."


class ResultNotFinite(Problem):
    """The numbers are so large that their result is not a finite number."""

    status, title = 422, "The result is too large a number"
    remedy = "Scale the values down."


class ResultTooLarge(Problem):
    """The result is larger than what is stored for a job."""

    status, title = 413, "The result is too large"
    remedy = "Filter first, group by fewer values, or split the input."


class ChildDied(ServiceUnavailable):
    """The process that did the work ended in the middle of it, by a crash or for want of memory."""

    status, title = 503, "The work broke off"


class MailRefused(Problem):
    """The mail server refuses the message or its recipient for good."""

    status, title = 422, "The mail server refuses the message"
    remedy = "Check the recipient's address."


class MailServerUnavailable(ServiceUnavailable):
    """The mail server does not answer, or cannot take the message now."""

    status, title = 503, "The mail server is not available right now"
