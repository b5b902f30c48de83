"""A program that was written for the Cloud API, on pywa: its base URL and its token are all that is the gateway's.

Arguments: base URL, token, phone number id, WABA id, a person who has written, and the wamid of what they wrote.
Writes a line of JSON for everything it was answered.
"""

import json
import sys

import httpx
from pywa import WhatsApp
from pywa.errors import WhatsAppError
from pywa.types import Button, Pagination, SectionList, Section, SectionRow
from pywa.types.templates import BodyText, TemplateLanguage

base, token, number, waba, person, wrote = sys.argv[1:]
session = httpx.Client(timeout=60)
wa = WhatsApp(phone_id=number, token=token, waba_id=waba, session=session)
session.base_url = f"{base}/v26.0"


def say(what, value):
    print(json.dumps({"what": what, "value": value}), flush=True)


def fails(what, call):
    try:
        call()
        say(what, None)
    except WhatsAppError as error:
        say(what, {"code": error.code, "class": type(error).__name__, "details": error.details})


say("text", wa.send_message(person, "Your table is ready.", tracker="table-7").id)
session.headers["Idempotency-Key"] = "order-17"
say("keyed", [wa.send_message(person, "Your order left.").id for _ in range(3)])
del session.headers["Idempotency-Key"]
say("buttons", wa.send_message(person, "Keep your slot?", buttons=[Button("Keep", "keep"), Button("Move", "move")]).id)
rows = [SectionRow("Mill Road", "p1"), SectionRow("Station", "p2")]
say("list", wa.send_message(person, "Where?", buttons=SectionList("Choose", [Section("Near", rows)])).id)
say("location", wa.send_location(person, 52.52, 13.405, name="Depot", address="Mill Road 4").id)
say("reaction", wa.send_reaction(person, "\U0001f44d", wrote).id)
say("reply", wa.send_message(person, "As you said.", reply_to_message_id=wrote).id)

png = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de") + bytes(3_000)
media = wa.upload_media(png, mime_type="image/png", filename="plan.png")
say("image", wa.send_image(person, media.id, caption="Floor plan").id)
place = wa.get_media_url(media.id)
say("media", {"type": place.mime_type, "bytes": place.file_size, "same": wa.get_media_bytes(place.url) == png})
say("deleted", bool(wa.delete_media(media.id)))
fails("gone", lambda: wa.get_media_url(media.id))
say("voice", wa.send_audio(person, b"OggS\0\2" + bytes(26) + b"OpusHead" + bytes(500), mime_type="audio/ogg", is_voice=True).id)

say("read", bool(wa.mark_message_as_read(wrote)))
say("typing", bool(wa.indicate_typing(wrote)))

english = TemplateLanguage.ENGLISH
say("template", wa.send_template(person, "orders", english, [BodyText.params("Ada")]).id)
names, page = [], wa.get_templates(pagination=Pagination(limit=2))
while True:
    names += [template.name for template in page]
    if not page.has_next:
        break
    # Its own next() fails for templates, wherever they come from.
    page = wa.get_templates(pagination=Pagination(limit=2, after=page.after))
say("templates", {"names": names, "total": page.total_count})

fails("no template", lambda: wa.send_template(person, "nothing", english, []))
fails("too many values", lambda: wa.send_template(person, "orders", english, [BodyText.params("Ada", "Bob")]))
fails("window", lambda: wa.send_message("447700900999", "Hello"))
fails("no consent", lambda: wa.send_template("447700900998", "offers", english, [BodyText.params("Ada")]))
fails("number", lambda: wa.send_message(person, "Hello", sender="402000000000999"))
session.headers["Authorization"] = "Bearer wgk_nobody"
fails("token", lambda: wa.send_message(person, "Hello"))
