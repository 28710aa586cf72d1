"""The gateway's own public paths: the front page, the merged OpenAPI document and its viewers, problems, health."""
