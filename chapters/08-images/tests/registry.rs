//! The registry client against servers that say what the test wants, and against a real registry.

#![allow(clippy::unwrap_used)]

#[path = "registry/auth.rs"]
mod auth;
#[path = "registry/network.rs"]
mod network;
#[path = "registry/real.rs"]
mod real;
#[path = "registry/server.rs"]
mod server;
#[path = "registry/transfer.rs"]
mod transfer;
#[path = "registry/words.rs"]
mod words;

fn main() {
    testkit::main(&[
        ("a_token_is_fetched_kept_and_renewed", auth::a_token_is_fetched_kept_and_renewed),
        ("a_token_that_is_not_enough_is_widened_once", auth::a_token_is_widened_once),
        ("identity_tokens_are_posted", auth::identity_tokens_are_posted),
        ("login_tells_right_from_wrong", auth::login_tells_right_from_wrong),
        ("credentials_stay_with_their_origin", auth::credentials_stay_with_their_origin),
        ("downloads_go_on_where_they_broke", transfer::downloads_go_on_where_they_broke),
        ("downloads_that_cannot_go_on", transfer::downloads_that_cannot_go_on),
        ("busy_servers_are_asked_again", transfer::busy_servers_are_asked_again),
        ("uploads_go_on_where_they_broke", transfer::uploads_go_on_where_they_broke),
        ("blobs_are_mounted_or_uploaded", transfer::blobs_are_mounted_or_uploaded),
        ("lists_have_pages", transfer::lists_have_pages),
        ("what_people_read", words::what_people_read),
        ("plain_http_needs_permission", network::plain_http_needs_permission),
        ("certificates_are_checked", network::certificates_are_checked),
        ("https_is_not_left", network::https_is_not_left),
        ("through_a_proxy", network::through_a_proxy),
        ("a_real_registry_takes_and_gives", real::a_real_registry_takes_and_gives),
        ("a_real_registry_behind_a_bad_line", real::a_real_registry_behind_a_bad_line),
    ]);
}
