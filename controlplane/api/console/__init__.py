"""The web console: pages for people, made on the server, readable without JavaScript.

It shows what the API shows, read by the same services under the same roles; a tenant's owner is read to as `sw_tenant`, as everywhere.
A person logs in with a key or token; a cookie that only `/console` gets stands for it afterwards (`services.sessions`).
"""

from . import forms, pages, timeline_page

CONSOLE = (forms.open_router, pages.open_router, forms.router, timeline_page.router, pages.router)
"""Its routers; the last route answers every other address below /console."""
