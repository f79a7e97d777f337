//! What an Api and its integrations say of bodies on their way: how large an answer is that is compressed, and what is
//! binary. All of it is of the draft, frozen with a deployment.

use plan::media::MediaTypePattern;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// AWS's bound on `minimumCompressionSize`, in bytes.
pub const COMPRESSION_SIZE_MAX: u32 = 10_485_760;
/// An Api names at most so many binary media types.
pub const BINARY_MEDIA_TYPES_MAX: usize = 100;

/// What becomes of a payload on its way, by AWS's tables of text and binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContentHandling {
    /// Base64 becomes the bytes that it stands for.
    ConvertToBinary,
    /// It is text: in the place of bytes stands their base64.
    ConvertToText,
}

impl ContentHandling {
    pub const ALL: [Self; 2] = [Self::ConvertToBinary, Self::ConvertToText];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConvertToBinary => "CONVERT_TO_BINARY",
            Self::ConvertToText => "CONVERT_TO_TEXT",
        }
    }

    /// Empty text is none.
    pub(crate) fn stored(text: &str) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let known = Self::ALL.into_iter().find(|handling| handling.as_str() == text);
        known.map(Some).ok_or_else(|| Error::corrupt("content handling", text))
    }
}

/// A number of bytes as faces take it.
pub fn compression_size(bytes: i64) -> Result<u32> {
    u32::try_from(bytes).ok().filter(|bytes| *bytes <= COMPRESSION_SIZE_MAX).ok_or_else(|| {
        let rule =
            format!("must be from 0 to {COMPRESSION_SIZE_MAX}, or null: nothing is compressed");
        Error::bad_request("minimumCompressionSize", rule)
    })
}

/// Media types in their one spelling, each once.
pub fn binary_media_types(given: &[String]) -> Result<Vec<String>> {
    const PARAM: &str = "binaryMediaTypes";
    if given.len() > BINARY_MEDIA_TYPES_MAX {
        let rule = format!("an API has at most {BINARY_MEDIA_TYPES_MAX} binary media types");
        return Err(Error::limit_exceeded(PARAM, rule));
    }
    let mut types = Vec::with_capacity(given.len());
    for text in given {
        let wrong = |rule: String| Error::bad_request(PARAM, rule);
        let parsed = MediaTypePattern::parse(text);
        let media_type = parsed.map_err(|error| wrong(format!("{text:?} {error}")))?.to_string();
        if types.contains(&media_type) {
            return Err(wrong(format!("{media_type} is there twice")));
        }
        types.push(media_type);
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use proto::config::v1::{Deployment, integration, resource::Kind};
    use sqlx::PgPool;

    use super::*;
    use crate::domain::api::{self, Dialect, UpdateApi};
    use crate::domain::integration::{IntegrationType, MockResponse, Settings};
    use crate::domain::patch::Patch;
    use crate::domain::pending_changes;
    use crate::snapshot::compile;
    use crate::testing;

    #[test]
    fn a_size_is_within_awss_bounds() {
        assert_eq!(compression_size(0).unwrap(), 0);
        assert_eq!(compression_size(10_485_760).unwrap(), COMPRESSION_SIZE_MAX);
        for wrong in [-1, 10_485_761, i64::MAX] {
            let refused = compression_size(wrong).unwrap_err();
            assert_eq!(
                (refused.code(), refused.param()),
                ("bad_request", Some("minimumCompressionSize"))
            );
        }
    }

    #[test]
    fn media_types_are_kept_in_one_spelling_and_each_once() {
        let checked = |types: &[&str]| {
            let types: Vec<String> = types.iter().map(|it| (*it).to_owned()).collect();
            binary_media_types(&types)
        };
        assert_eq!(
            checked(&["Image/PNG", "image/*", "*/*"]).unwrap(),
            ["image/png", "image/*", "*/*"]
        );
        for (wrong, code) in [
            (&["image"][..], "bad_request"),
            (&["image/p*"], "bad_request"),
            (&["a/b", "A/B"], "bad_request"),
            (&["a/b"; 101], "limit_exceeded"),
        ] {
            let refused = checked(wrong).unwrap_err();
            assert_eq!((refused.code(), refused.param()), (code, Some("binaryMediaTypes")));
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_an_api_says_of_bodies_goes_live_by_a_deployment(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let api = testing::new_api(&app, &alice, Dialect::AwsRest).await;
        let base64 = Settings {
            content_handling: Some(ContentHandling::ConvertToBinary),
            ..testing::mock("aGk=")
        };
        testing::new_route(&app, &alice, api, "GET /", base64).await;
        let deployed = async || -> Deployment {
            let id = testing::deploy(&app, &alice, api, "prod").await.unwrap().id;
            let mut tx = app.begin(&alice).await.unwrap();
            match compile::deployment(&mut tx, alice.tenant, id).await.unwrap().kind {
                Some(Kind::Deployment(deployment)) => deployment,
                other => panic!("{other:?}"),
            }
        };
        let frozen = deployed().await;
        let Some(integration::Kind::Mock(mock)) = &frozen.integrations[0].kind else { panic!() };
        assert_eq!(mock.content_handling(), proto::config::v1::ContentHandling::ConvertToBinary);
        let said = frozen.api.unwrap();
        assert_eq!((said.minimum_compression_size, said.binary_media_types.len()), (None, 0));

        for (size, types, expected) in [
            (Patch::Set(0), Some(vec!["Image/*".to_owned()]), (Some(0), vec!["image/*"])),
            (Patch::Set(1024), None, (Some(1024), vec!["image/*"])),
            (Patch::Clear, Some(Vec::new()), (None, vec![])),
        ] {
            let change = UpdateApi {
                minimum_compression_size: size,
                binary_media_types: types,
                ..UpdateApi::default()
            };
            let kept = api::update(&app, &alice, api, change).await.unwrap();
            assert_eq!(
                (kept.minimum_compression_size, kept.binary_media_types),
                (expected.0, expected.1.iter().map(|it| (*it).to_owned()).collect())
            );
            assert!(pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
            let said = deployed().await.api.unwrap();
            assert_eq!(
                (said.minimum_compression_size, &said.binary_media_types[..]),
                (expected.0, &expected.1.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..])
            );
            assert!(!pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
        }
        for (says, expected) in
            [(Patch::Set(true), Some(true)), (Patch::Set(false), Some(false)), (Patch::Clear, None)]
        {
            let change = UpdateApi { decompress_requests: says, ..UpdateApi::default() };
            let kept = api::update(&app, &alice, api, change).await.unwrap();
            assert_eq!(kept.decompress_requests, expected);
            assert!(pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
            assert_eq!(deployed().await.api.unwrap().decompress_requests, expected);
        }
        let audited: Vec<Option<String>> = sqlx::query_scalar(
            "select after ->> 'minimumCompressionSize' from audit_entry where action = 'api.update' order by id limit 3",
        )
        .fetch_all(&db)
        .await
        .unwrap();
        assert_eq!(audited, [Some("0".to_owned()), Some("1024".to_owned()), None]);
        let too_large = UpdateApi {
            minimum_compression_size: Patch::Set(COMPRESSION_SIZE_MAX + 1),
            ..UpdateApi::default()
        };
        let refused = api::update(&app, &alice, api, too_large).await.unwrap_err();
        assert_eq!(refused.param(), Some("minimumCompressionSize"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn only_a_fixed_answer_is_converted_and_what_must_be_base64_is(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = testing::new_api(&app, &alice, Dialect::Native).await;
        let create = async |settings: Settings| {
            crate::domain::integration::create(&app, &alice, api, settings).await
        };
        for handling in ContentHandling::ALL {
            let settings = Settings { content_handling: Some(handling), ..testing::mock("aGk=") };
            let made = create(settings).await.unwrap();
            assert_eq!(made.settings.content_handling, Some(handling));
            let proxy = Settings::http_proxy("https://backend.example.com");
            let refused = create(Settings { content_handling: Some(handling), ..proxy }).await;
            assert_eq!(refused.unwrap_err().param(), Some("contentHandling"));
        }
        let mock = MockResponse { status: 200, headers: Vec::new(), body: "no base64".to_owned() };
        let settings = Settings {
            kind: IntegrationType::Mock,
            content_handling: Some(ContentHandling::ConvertToBinary),
            mock_response: Some(mock),
            ..Settings::http_proxy("")
        };
        assert_eq!(create(settings).await.unwrap_err().param(), Some("mockResponse.body"));
    }
}
