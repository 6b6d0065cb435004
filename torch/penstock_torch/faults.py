"""The one error that a rank reports by code; codes are those of src/errors.ts."""


class Fault(Exception):
    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
