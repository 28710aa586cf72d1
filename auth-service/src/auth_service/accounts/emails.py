"""Mail addresses in one spelling, so that however one is typed it is the same account."""

from email_validator import EmailNotValidError, validate_email


def new_address(address: str) -> str:
    """The canonical form of an address that can be delivered to: its local part has at most 64 characters.

    Raises ValueError.
    """
    return canonical(address, strict=True)


def canonical(address: str, *, strict: bool = False) -> str:
    """The address with its domain decoded and its characters composed (Unicode NFC); case stays. No DNS lookup.

    Raises ValueError, which says what is wrong.
    """
    try:
        return validate_email(address, check_deliverability=False, test_environment=True, strict=strict).normalized
    except EmailNotValidError as error:
        raise ValueError(f"is not an email address: {error}") from None
