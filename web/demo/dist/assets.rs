// Written by `npm run build:demo`: name, content type, content.
[
    ("EmojiPicker-CixFavQB.js", "text/javascript; charset=utf-8", include_bytes!("assets/EmojiPicker-CixFavQB.js")),
    ("deferredPicker-A6MWDDKH-CthRxG4b.js", "text/javascript; charset=utf-8", include_bytes!("assets/deferredPicker-A6MWDDKH-CthRxG4b.js")),
    ("emojis-VTEL5M5C-DY32zr07.js", "text/javascript; charset=utf-8", include_bytes!("assets/emojis-VTEL5M5C-DY32zr07.js")),
    ("index-Cmjwbv4t.js", "text/javascript; charset=utf-8", include_bytes!("assets/index-Cmjwbv4t.js")),
    ("index-DCL0Iwoj.css", "text/css; charset=utf-8", include_bytes!("assets/index-DCL0Iwoj.css")),
]
