//! Chapter 05 against the real kernel: packets that arrive, packets that do not, and nothing left afterwards.
//!
//! The harness gives each test a network namespace that plays the host; containers, and the world outside, are further
//! namespaces ([`world::Netns`]).

#![allow(clippy::unwrap_used)]

#[path = "network/crash.rs"]
mod crash;
#[path = "network/lesson.rs"]
mod lesson;
#[path = "network/packets.rs"]
mod packets;
#[path = "network/ports.rs"]
mod ports;
#[path = "network/traces.rs"]
mod traces;
#[path = "network/world.rs"]
mod world;

fn main() {
    testkit::main(&[
        ("two_containers_ping_each_other", packets::two_containers_ping_each_other),
        ("the_host_reaches_a_published_port", packets::the_host_reaches_a_published_port),
        ("containers_reach_a_published_port", packets::containers_reach_a_published_port),
        ("the_first_packet_arrives", packets::the_first_packet_arrives),
        ("outside_reaches_what_is_published_only", packets::outside_reaches_what_is_published_only),
        ("the_way_out_wears_the_hosts_address", packets::the_way_out_wears_the_hosts_address),
        ("udp_goes_the_same_ways", packets::udp_goes_the_same_ways),
        ("a_udp_client_follows_the_port", packets::a_udp_client_follows_the_port),
        ("one_address_of_the_host_is_only_that", packets::one_address_of_the_host_is_only_that),
        ("the_hosts_loopback_stays_closed", packets::the_hosts_loopback_stays_closed),
        ("none_has_loopback", packets::none_has_loopback),
        ("ranges_and_free_ports", ports::ranges_and_free_ports),
        ("conflicts_are_told", ports::conflicts_are_told),
        ("addresses_can_be_chosen_once", ports::addresses_can_be_chosen_once),
        ("the_table_reads_well", traces::the_table_reads_well),
        ("the_last_one_takes_everything_along", traces::the_last_one_takes_everything_along),
        ("a_failed_connect_leaves_nothing", traces::a_failed_connect_leaves_nothing),
        ("a_taken_subnet_is_avoided", traces::a_taken_subnet_is_avoided),
        ("two_state_roots_live_side_by_side", traces::two_state_roots_live_side_by_side),
        ("a_flushed_ruleset_comes_back", traces::a_flushed_ruleset_comes_back),
        ("a_forward_policy_is_told", traces::a_forward_policy_is_told),
        ("fifty_at_once", crash::fifty_at_once),
        ("killed_in_the_middle", crash::killed_in_the_middle),
        ("half_a_bridge_is_made_anew", crash::half_a_bridge_is_made_anew),
        ("the_example_runs", lesson::the_example_runs),
        ("the_lesson_tells_the_truth", lesson::the_lesson_tells_the_truth),
        ("the_lesson_where_mounts_are_shared", lesson::the_lesson_where_mounts_are_shared),
    ]);
}
