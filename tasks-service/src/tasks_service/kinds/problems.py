"""Why a job's work cannot be done: the problems of the kinds. Below 500: repeating it would change nothing."""

from shared.problems import NotFound, Problem, ServiceUnavailable


class FileNotFound(NotFound):
    """The file does not exist, or the person may not see it."""

    status, title = 404, "No such file"
    remedy = "Check the id, and that the same person uploaded it in the same tenant."


class FileTooLarge(Problem):
    """The file is larger than this kind of job accepts."""

    status, title = 413, "The file is too large for this job"
    remedy = "Split the file; a CSV file may be larger than a JSON file."


class FileNotText(Problem):
    """The file is not UTF-8 text."""

    status, title = 422, "The file is not UTF-8 text"
    remedy = "Save the file as UTF-8, or choose an operation that accepts any bytes."


class FileNotTabular(Problem):
    """The file has no rows: it is neither CSV with a header nor a JSON list of objects."""

    status, title = 422, "The file has no table"
    remedy = "Upload CSV with a header row, a JSON list of objects, or one JSON object a line."


class FieldNotInRows(Problem):
    """No row has the field of the operation."""

    status, title = 422, "No row has the field"
    remedy = "Check the field's spelling against the keys of the rows or the header of the file."


class FieldNotNumeric(Problem):
    """A row has a value other than a number in the field to calculate with."""

    status, title = 422, "The field is not numeric"
    remedy = "Correct the row that the detail names; a missing value is null, absent, or an empty cell."


class ResultNotFinite(Problem):
    """The numbers are so large that their result is not finite."""

    status, title = 422, "The result is too large a number"
    remedy = "Scale the values down."


class ResultTooLarge(Problem):
    """The result is larger than the limit for a job's result."""

    status, title = 413, "The result is too large"
    remedy = "Filter first, group by fewer values, or split the input."


class ChildDied(ServiceUnavailable):
    """The process that did the work ended early, because of a crash or a lack of memory."""

    status, title = 503, "The work was interrupted"
