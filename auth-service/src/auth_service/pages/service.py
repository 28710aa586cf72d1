"""Which forms the pages accept."""

from urllib.parse import urlsplit

from shared.problems import Forbidden


class FormRefused(Forbidden):
    """The form was sent from a page of another site, or from one that is out of date."""

    status, title = 403, "The form does not come from this site"
    remedy = "Open the page again and send the form from there."


def is_own_form(origin: str | None, site: str | None, public_url: str) -> bool:
    """Whether a form comes from these pages, by `Sec-Fetch-Site`, else by `Origin`.

    Every browser sends one of them with a form; a client that sends neither has no person's cookies to abuse.
    """
    if site is not None:
        return site in ("same-origin", "none")
    public = urlsplit(public_url)
    return origin in (None, f"{public.scheme}://{public.netloc}")
