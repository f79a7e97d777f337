//! What is told of answers that the node makes by itself.

use http::HeaderValue;
use plan::gateway_response::{Escape, GatewayResponse, Text};
use plan::{Allowed, Cors, CorsSettings};

/// What is kept of CORS settings reads the same and can be sent; a page is allowed by its origin's exact text or by `*`.
pub(crate) fn cors(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let page = lines.next().unwrap_or_default();
    let mut list = || -> Vec<String> {
        let line = lines.next().unwrap_or_default();
        line.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect()
    };
    let settings = CorsSettings {
        allow_origins: list(),
        allow_methods: list(),
        allow_headers: list(),
        expose_headers: list(),
        allow_credentials: bytes.len() % 2 == 1,
        max_age_s: i32::try_from(bytes.len()).ok(),
    };
    let Ok(kept) = settings.checked() else { return };
    assert_eq!(kept.clone().checked().as_ref(), Ok(&kept));
    let cors = Cors::new(kept.clone()).unwrap();
    for sent in [&cors.methods, &cors.headers, &cors.exposed] {
        assert!(HeaderValue::from_str(sent).is_ok(), "{sent:?}");
    }
    let any = kept.allow_origins.iter().any(|it| it == "*");
    assert_eq!(cors.is_off(), kept.allow_origins.is_empty());
    assert_eq!(any, cors.allows(page.as_bytes()) == Some(Allowed::Anybody));
    for origin in kept.allow_origins.iter().filter(|it| !it.contains('*')) {
        assert!(cors.allows(origin.as_bytes()).is_some(), "{origin}");
    }
}

/// What is kept of a gateway response can be sent; a value ends neither a string of JSON nor markup; what comes out is
/// bounded.
pub(crate) fn gateway_response(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(3, '\n');
    let mut next = || parts.next().unwrap_or_default();
    let (value, header, template) = (next(), next(), next());
    let parameters = [("gatewayresponse.header.x-a".to_owned(), header.to_owned())].into();
    let _ = GatewayResponse::new(None, &parameters, &[].into());

    if let Ok(text) = Text::parse(template, Escape::None) {
        let filled = text.fill(|_| Some(value.into()));
        assert!(filled.len() <= template.len() + 80 * 1024);
        assert!(text.variables().count() > 0 || filled == template);
    }
    let strings = r#"["$context.path",$context.error.messageString,"$method.request.header.x-a"]"#;
    let json = Text::parse(strings, Escape::Json).unwrap().fill(|_| Some(value.into()));
    let told: Vec<String> = serde_json::from_str(&json).unwrap();
    assert!(told.iter().all(|told| value.starts_with(told.as_str())), "{json}");
    let markup = Text::parse("$context.path", Escape::Markup).unwrap();
    let markup = markup.fill(|_| Some(value.into()));
    assert!(!markup.contains(['<', '>', '"', '\'']), "{markup}");
}
