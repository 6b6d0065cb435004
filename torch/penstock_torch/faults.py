"""Error that a rank reports to Node, with a code of src/errors.ts."""


class Fault(Exception):
    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
