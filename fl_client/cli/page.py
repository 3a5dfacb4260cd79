"""page."""

import argparse

from fl_client.home import Home
from fl_client.page import ask


def page(options: argparse.Namespace, home: Home) -> str:
    home.enrolled()
    url = ask.address(home)
    if not options.print and ask.open_in_browser(url):
        return "Your page opens in the browser."
    return url
