// Written by `npm run build:demo`: name, content type, content.
[
    ("EmojiPicker-Dvqw1TxY.js", "text/javascript; charset=utf-8", include_bytes!("assets/EmojiPicker-Dvqw1TxY.js")),
    ("deferredPicker-A6MWDDKH-CthRxG4b.js", "text/javascript; charset=utf-8", include_bytes!("assets/deferredPicker-A6MWDDKH-CthRxG4b.js")),
    ("emojis-VTEL5M5C-Ait0AWfN.js", "text/javascript; charset=utf-8", include_bytes!("assets/emojis-VTEL5M5C-Ait0AWfN.js")),
    ("index-BofMbZl5.css", "text/css; charset=utf-8", include_bytes!("assets/index-BofMbZl5.css")),
    ("index-BuUWlmMt.js", "text/javascript; charset=utf-8", include_bytes!("assets/index-BuUWlmMt.js")),
]
