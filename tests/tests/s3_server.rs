//! Our own S3 server, asked by the AWS SDK: what no store uses yet, and what its faults are built on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may do as it likes")]

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::tls;
use pannier_s3_server::{Options, Server};

const BUCKET: &str = "pannier";
const FLOOR: usize = 5 * 1024 * 1024;

struct Asking {
    _server: Server,
    client: Client,
}

fn asking() -> Asking {
    let server = Server::start(Options::default()).unwrap();
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "testtest", None, None, "test"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(ring).build_https())
        .endpoint_url(server.url())
        .force_path_style(true);
    Asking { _server: server, client: Client::from_conf(config.build()) }
}

/// The code of a refusal.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E>>) -> String {
    answer.expect_err("a refusal").code().unwrap_or_default().to_owned()
}

impl Asking {
    async fn put(&self, key: &str, bytes: Vec<u8>) -> String {
        let put = self.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes));
        put.send().await.unwrap().e_tag.unwrap()
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().to_vec()
    }

    async fn begin(&self, key: &str, algorithm: ChecksumAlgorithm, kind: ChecksumType) -> String {
        let begun = self.client.create_multipart_upload().bucket(BUCKET).key(key);
        let begun = begun.checksum_algorithm(algorithm).checksum_type(kind);
        begun.send().await.unwrap().upload_id.unwrap()
    }

    async fn part(&self, key: &str, id: &str, number: i32, bytes: Vec<u8>) -> CompletedPart {
        let part = self.client.upload_part().bucket(BUCKET).key(key).upload_id(id).part_number(number);
        let sent = part.body(ByteStream::from(bytes)).send().await.unwrap();
        CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build()
    }

    async fn copy(&self, key: &str, id: &str, number: i32, (from, range): (&str, &str)) -> CompletedPart {
        let part = self.client.upload_part_copy().bucket(BUCKET).key(key).upload_id(id).part_number(number);
        let part = part.copy_source(format!("{BUCKET}/{from}")).copy_source_range(range);
        let copied = part.send().await.unwrap().copy_part_result.unwrap();
        CompletedPart::builder().part_number(number).set_e_tag(copied.e_tag).build()
    }

    async fn complete(
        &self,
        key: &str,
        id: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<CompleteMultipartUploadOutput, String> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(id);
        let sent = complete.multipart_upload(parts).if_none_match("*").send().await;
        sent.map_err(|error| error.code().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn an_object_is_put_together_of_copied_ranges_and_sent_parts() {
    let asking = asking();
    let old: Vec<u8> = (0..3 * FLOOR).map(|n| (n % 251) as u8).collect();
    asking.put("old", old.clone()).await;
    let id = asking.begin("new", ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject).await;
    let range = format!("bytes=7-{}", 2 * FLOOR);
    let parts =
        vec![asking.copy("new", &id, 1, ("old", &range)).await, asking.part("new", &id, 2, b"the end".to_vec()).await];
    let missing = asking.client.head_object().bucket(BUCKET).key("new").send().await;
    assert!(missing.is_err(), "an upload is invisible until it is complete");
    let completed = asking.complete("new", &id, parts.clone()).await.unwrap();
    let expected = [&old[7..=2 * FLOOR], b"the end"].concat();
    assert!(asking.get("new").await == expected);
    assert!(completed.e_tag.unwrap().ends_with("-2\""));
    let whole = asking.client.put_object().bucket(BUCKET).key("whole").body(ByteStream::from(expected));
    let whole = whole.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).send().await.unwrap();
    assert_eq!(completed.checksum_crc64_nvme, whole.checksum_crc64_nvme, "it is of the whole object");
    assert_eq!(asking.complete("new", &id, parts).await.unwrap_err(), "NoSuchUpload");
}

#[tokio::test]
async fn parts_must_be_what_s3_wants_them_to_be() {
    let asking = asking();
    let id = asking.begin("a", ChecksumAlgorithm::Sha256, ChecksumType::Composite).await;
    let small = asking.part("a", &id, 1, vec![1; 10]).await;
    let last = asking.part("a", &id, 2, vec![2; 10]).await;
    let both = asking.complete("a", &id, vec![small.clone(), last.clone()]).await;
    assert_eq!(both.unwrap_err(), "EntityTooSmall");
    let turned = asking.complete("a", &id, vec![last.clone(), small]).await;
    assert_eq!(turned.unwrap_err(), "InvalidPartOrder");
    let wrong = CompletedPart::builder().part_number(1).e_tag("\"0123\"").build();
    assert_eq!(asking.complete("a", &id, vec![wrong]).await.unwrap_err(), "InvalidPart");
    let done = asking.complete("a", &id, vec![last]).await.unwrap();
    assert!(done.checksum_sha256.unwrap().ends_with("-1"), "it is of the parts' checksums");
}

#[tokio::test]
async fn an_upload_that_is_complete_too_late_loses() {
    let asking = asking();
    let id = asking.begin("a", ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject).await;
    let part = asking.part("a", &id, 1, b"late".to_vec()).await;
    asking.put("a", b"early".to_vec()).await;
    assert_eq!(asking.complete("a", &id, vec![part]).await.unwrap_err(), "PreconditionFailed");
    assert_eq!(asking.get("a").await, b"early");
    asking.client.abort_multipart_upload().bucket(BUCKET).key("a").upload_id(&id).send().await.unwrap();
}

#[tokio::test]
async fn a_copy_is_pinned_to_its_source() {
    let asking = asking();
    let etag = asking.put("old", vec![1; FLOOR]).await;
    asking.put("old", vec![2; FLOOR]).await;
    let id = asking.begin("new", ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject).await;
    let copy = asking.client.upload_part_copy().bucket(BUCKET).key("new").upload_id(&id).part_number(1);
    let copy = copy.copy_source(format!("{BUCKET}/old")).copy_source_if_match(etag).send().await;
    assert_eq!(code(copy), "PreconditionFailed");
}

#[tokio::test]
async fn checksums_are_checked_wherever_they_come_from() {
    let asking = asking();
    let put = |key: &str| asking.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"abc"));
    let wrong = put("wrong").checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").send().await;
    assert_eq!(code(wrong), "BadDigest");
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Sha1] {
        put(algorithm.as_str()).checksum_algorithm(algorithm.clone()).send().await.unwrap();
    }
    put("mine").checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
    let mode = aws_sdk_s3::types::ChecksumMode::Enabled;
    let head = asking.client.head_object().bucket(BUCKET).key("mine").checksum_mode(mode).send().await.unwrap();
    assert_eq!(head.checksum_sha256.unwrap(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
}

#[tokio::test]
async fn what_is_known_is_not_sent_again_and_what_is_gone_is_gone() {
    let asking = asking();
    let etag = asking.put("a", b"abc".to_vec()).await;
    let known = asking.client.get_object().bucket(BUCKET).key("a").if_none_match(etag).send().await;
    assert_eq!(known.unwrap_err().raw_response().unwrap().status().as_u16(), 304);
    asking.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    let gone = asking.client.get_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(code(gone), "NoSuchKey");
}
