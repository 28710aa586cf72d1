"""Handing a mail to the server, and what each of its answers means."""

import aiosmtplib

from shared.mail.message import Mail, composed
from shared.mail.settings import SmtpSettings
from shared.problems import Problem, ServiceUnavailable


class MailRefused(Problem):
    """The mail server answered that trying again will not help (5xx), at any step from its greeting on."""

    status, title = 422, "The mail server refuses the message"
    remedy = "Check the recipient's address. If all mail is refused, check the sender and the sign-in in the settings."


class MailServerUnavailable(ServiceUnavailable):
    """The mail server does not respond, or cannot accept the message now (4xx)."""

    status, title = 503, "The mail server is unavailable"


async def send(mail: Mail, smtp: SmtpSettings) -> None:
    """Hand the mail to the server. Raises MailRefused, MailServerUnavailable."""
    try:
        await aiosmtplib.send(
            composed(mail),
            sender=smtp.sender_address,
            recipients=[mail.to],
            hostname=smtp.host,
            port=smtp.port,
            username=smtp.username,
            password=smtp.password.get_secret_value() if smtp.password else None,
            use_tls=smtp.use_tls,
            start_tls=smtp.start_tls,
            timeout=smtp.timeout_s,
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _refusal(error.recipients[0].code) from error
    except aiosmtplib.SMTPResponseException as error:  # an answer at any step, from the greeting to after the message
        raise _refusal(error.code) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise MailServerUnavailable from error


def _refusal(code: int) -> MailRefused | MailServerUnavailable:
    """5xx is permanent, everything else transient (RFC 5321, section 4.2.1).

    The server's words may name people: they are not repeated.
    """
    if 500 <= code <= 599:
        return MailRefused(f"The mail server answered {code}.")
    return MailServerUnavailable(f"The mail server answered {code}.")
