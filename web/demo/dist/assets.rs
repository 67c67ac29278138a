// Written by `npm run build:demo`: name, content type, content.
[
    ("EmojiPicker-DAB4KjJT.js", "text/javascript; charset=utf-8", include_bytes!("assets/EmojiPicker-DAB4KjJT.js")),
    ("deferredPicker-A6MWDDKH-CthRxG4b.js", "text/javascript; charset=utf-8", include_bytes!("assets/deferredPicker-A6MWDDKH-CthRxG4b.js")),
    ("emojis-VTEL5M5C-DC2rzF6C.js", "text/javascript; charset=utf-8", include_bytes!("assets/emojis-VTEL5M5C-DC2rzF6C.js")),
    ("index-Bigo21G-.js", "text/javascript; charset=utf-8", include_bytes!("assets/index-Bigo21G-.js")),
    ("index-C9H4e4-C.css", "text/css; charset=utf-8", include_bytes!("assets/index-C9H4e4-C.css")),
]
