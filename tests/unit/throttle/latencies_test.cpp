// What is learnt about latencies: references, the size of lists, and their text for the next run.
#include "core/throttle/latencies.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>

namespace {

using namespace weir::throttle;
using namespace std::chrono_literals;

constexpr auto post = method::post;
constexpr auto path = "plugins/proxbox/backups";

clock::duration seconds(double s) {
  return std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(s));
}
// So many objects at `per_unit` seconds for each unit of work.
std::optional<double> write(latencies& l, std::size_t objects, double per_unit, bool alone = true) {
  return l.seen(post, path, objects, 500, seconds(per_unit * work_of(post, objects, 500)), alone);
}

// As quick as nothing: everything would count as slow against it, for a week.
TEST(latencies, does_not_believe_a_reference_that_no_server_has) {
  latencies l;
  l.restore("POST dcim/devices 1e-320\nPOST dcim/sites 1e-9\nPOST extras/tags 0.02\n");
  EXPECT_FALSE(l.reference(method::post, "dcim/devices"));
  EXPECT_FALSE(l.reference(method::post, "dcim/sites"));
  EXPECT_TRUE(l.reference(method::post, "extras/tags"));
}

}  // namespace

TEST(latencies, work_is_three_objects_and_those_carried_or_a_hundred_kilobytes_and_those_read) {
  EXPECT_EQ(work_of(post, 1, 99999), 4);
  EXPECT_EQ(work_of(method::del, 50, 0), 53);
  EXPECT_EQ(work_of(method::get, 50, 1024 * 20), 120);
}

TEST(latencies, the_first_answer_to_a_request_alone_is_the_reference) {
  latencies l;
  EXPECT_FALSE(l.reference(post, path));
  EXPECT_EQ(write(l, 10, 0.02), 1);
  EXPECT_NEAR(*l.reference(post, path), 0.02, 1e-9);
  EXPECT_NEAR(*write(l, 50, 0.06), 3, 1e-6) << "whatever the length of the list";
  EXPECT_FALSE(l.reference(post, "dcim/devices")) << "each endpoint has its own";
  EXPECT_FALSE(l.reference(method::patch, path)) << "and each method";
}

TEST(latencies, among_others_in_flight_it_is_what_the_window_says_less_what_they_bring) {
  latencies l;
  EXPECT_FALSE(write(l, 10, 0.03, false)) << "nothing to compare it with";
  EXPECT_FALSE(write(l, 10, 0.05, false));
  l.window_ended(1, 2.0);
  EXPECT_NEAR(*l.reference(post, path), 0.02, 1e-9);
  EXPECT_NEAR(*write(l, 10, 0.04, false), 2, 1e-6);
}

TEST(latencies, references_follow_good_windows_and_hardly_bad_ones) {
  latencies l;
  write(l, 10, 0.02);
  l.window_ended(1);
  write(l, 10, 0.024);
  l.window_ended(1.2);
  EXPECT_NEAR(*l.reference(post, path), 0.0204, 1e-6);
  write(l, 10, 0.0104);
  l.window_ended(0.5);
  EXPECT_NEAR(*l.reference(post, path), 0.0154, 1e-6) << "quicker is believed sooner";
  write(l, 10, 0.2);
  l.window_ended(10);
  EXPECT_NEAR(*l.reference(post, path), 0.0154 * 1.01, 1e-6);
  write(l, 10, 0.2);
  l.window_lost();
  l.window_ended(1);
  EXPECT_NEAR(*l.reference(post, path), 0.0154 * 1.01, 1e-6) << "a window that was lost teaches nothing";
}

TEST(latencies, a_list_is_as_long_as_one_to_two_seconds_allow) {
  latencies l;
  EXPECT_EQ(l.list_size(post, path, 500), 10U) << "nothing is known";
  EXPECT_EQ(l.list_size(method::get, path, 5000), 250U);
  EXPECT_EQ(l.list_size(post, path, 3), 3U) << "the ceiling holds";
  for (double const per_unit : {0.01, 0.023, 0.1, 0.3}) {
    latencies of;
    for (int i = 0; i < 30; ++i) write(of, 10, per_unit);
    auto const n = of.list_size(post, path, 500);
    auto const takes = per_unit * work_of(post, n, 0);
    EXPECT_GE(takes, 1) << per_unit;
    EXPECT_LE(takes, 2) << per_unit;
    EXPECT_EQ(of.list_size(post, path, 5), std::min<std::size_t>(5, n));
  }
  for (int i = 0; i < 30; ++i) write(l, 10, 5);
  EXPECT_EQ(l.list_size(post, path, 500), 1U) << "at least one";
  EXPECT_EQ(l.list_size(post, path, 0), 1U);
}

TEST(latencies, a_list_without_a_usable_answer_halves_the_next_ones_and_successes_lengthen_them_again) {
  latencies l;
  for (int i = 0; i < 30; ++i) write(l, 50, 0.01);
  ASSERT_EQ(l.list_size(post, path, 50), 50U);
  l.halve(post, path, 50);
  EXPECT_EQ(l.list_size(post, path, 50), 25U);
  l.halve(post, path, 25);
  EXPECT_EQ(l.list_size(post, path, 50), 12U);
  write(l, 12, 0.01);
  EXPECT_EQ(l.list_size(post, path, 50), 15U);
  for (int i = 0; i < 10; ++i) write(l, 15, 0.01);
  EXPECT_EQ(l.list_size(post, path, 50), 50U);
  l.halve(post, path, 1);
  EXPECT_EQ(l.list_size(post, path, 50), 1U);
}

TEST(latencies, text_for_the_next_run) {
  latencies l;
  write(l, 10, 0.02);
  l.seen(method::get, "dcim/devices", 1, 1024, 101ms);
  auto const text = l.save();
  EXPECT_EQ(text, "GET dcim/devices 0.001\nPOST plugins/proxbox/backups 0.02\n");
  latencies again;
  again.restore(text);
  EXPECT_EQ(again.save(), text);
  EXPECT_NEAR(*again.reference(post, path), 0.02, 1e-9);
  EXPECT_GT(again.list_size(post, path, 500), 10U) << "the size of the first list follows from it";
  EXPECT_NEAR(*write(again, 10, 0.06), 3, 1e-6) << "and what is slow";
}

TEST(latencies, damaged_text_is_skipped_line_by_line) {
  latencies l;
  l.restore(
      "\n\nPOST\nPOST a\n 0.1\nPOST b x\nPOST c 0.1x\nPOST d -1\nPOST e 0\nPOST f nan\nPOST g inf\nPOST h 1e9\n"
      "POST i 0.5\nno number here\n\xff\xfe\x01 binary\nPOST j 1e-400\nPOST k 0.25");
  EXPECT_EQ(l.save(), "POST i 0.5\nPOST k 0.25\n");
}

TEST(latencies, does_not_grow_without_end) {
  latencies l;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "POST e" + std::to_string(i) + " 0.1\n";
  l.restore(text);
  auto const kept = l.save();
  EXPECT_EQ(std::count(kept.begin(), kept.end(), '\n'), 1000);
  EXPECT_FALSE(l.seen(post, "one more", 1, 0, 1s));
  EXPECT_EQ(l.list_size(post, "one more", 50), 10U);
}

RC_GTEST_PROP(latencies_property, any_text_is_restored_to_something_that_is_saved_and_restored_alike,
              (std::string const& noise)) {
  latencies l;
  l.restore(noise);
  l.restore("POST a 0.1\n" + noise + "\nGET b 0.2");
  auto const text = l.save();
  latencies again;
  again.restore(text);
  RC_ASSERT(again.save() == text);
  RC_ASSERT(l.reference(method::post, "a").has_value());
  auto const n = l.list_size(method::post, "a", 50);
  RC_ASSERT(n >= 1 && n <= 50);
}
