// Frames and messages between weir and a stage's process.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "core/plugin/wire.hpp"

namespace weir::plugin::wire {
namespace {

using base::log::level;

// The one message in `frame`, whose bytes come one by one.
template <class F>
void only_message(std::optional<std::string> const& frame, F check) {
  ASSERT_TRUE(frame);
  decoder d;
  for (std::size_t i = 0; i + 1 < frame->size(); ++i) {
    d.feed(std::string_view(*frame).substr(i, 1));
    ASSERT_FALSE(d.next()) << "after " << i;
  }
  d.feed(std::string_view(*frame).substr(frame->size() - 1));
  auto const m = d.next();
  ASSERT_TRUE(m) << d.error();
  check(*m);
  EXPECT_FALSE(d.next());
  EXPECT_EQ(d.error(), "");
}

std::string refusal(writer w) {
  std::string out;
  only_message(std::move(w).take(), [&](message const& m) {
    auto const said = parse(m);
    EXPECT_FALSE(said);
    if (!said) out = said.error().what;
  });
  return out;
}

TEST(wire, passes_fields_on) {
  writer w(type::emit, 77);
  w.u8(200).u32(4'000'000'000u).u64(1ull << 60).f64(-0.125).text("").text(std::string("a\0b", 3));
  only_message(std::move(w).take(), [](message const& m) {
    EXPECT_EQ(m.what, type::emit);
    EXPECT_EQ(m.call, 77u);
    reader r(m.fields);
    EXPECT_EQ(r.u8(), 200);
    EXPECT_EQ(r.u32(), 4'000'000'000u);
    EXPECT_EQ(r.u64(), 1ull << 60);
    EXPECT_EQ(r.f64(), -0.125);
    EXPECT_EQ(r.text(), "");
    EXPECT_FALSE(r.finished());
    EXPECT_EQ(r.text(), std::string_view("a\0b", 3));
    EXPECT_TRUE(r.finished());
    EXPECT_EQ(r.u8(), 0);
    EXPECT_FALSE(r.good());
  });
}

TEST(wire, a_text_longer_than_its_message_is_no_text) {
  reader r(std::string_view("\xff\0\0\0abc", 7));
  EXPECT_EQ(r.text(), "");
  EXPECT_FALSE(r.good());
}

TEST(wire, finds_the_messages_in_a_stream) {
  std::string stream;
  for (std::uint64_t i = 1; i <= 5000; ++i) {
    writer w(type::state_get, i);
    w.text(std::string(i % 300, 'k'));
    stream += *std::move(w).take();
  }
  for (std::size_t const step : {1u, 7u, 1000u, 100'000u, 10'000'000u}) {
    decoder d;
    std::uint64_t seen = 0;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      d.feed(std::string_view(stream).substr(at, step));
      while (auto const m = d.next()) {
        ++seen;
        ASSERT_EQ(m->call, seen);
        ASSERT_EQ(reader(m->fields).text().size(), seen % 300);
      }
    }
    EXPECT_EQ(seen, 5000u) << "in steps of " << step;
  }
}

TEST(wire, refuses_what_is_no_frame) {
  struct {
    std::string bytes, error;
  } const cases[] = {
      {"GET / HTTP/1.1\r\n", "a length of"},
      {std::string("\0\0\0\0", 4), "a length of 0 bytes"},
      {std::string("\x08\0\0\0", 4), "a length of 8 bytes"},
      {std::string("\xff\xff\xff\xff", 4), "a length of 4294967295 bytes"},
      {std::string("\x09\0\0\0\0\0\0\0\0\0\0\0\0", 13), "a message of the unknown type 0"},
      {std::string("\x09\0\0\0\xc8\0\0\0\0\0\0\0\0", 13), "a message of the unknown type 200"},
  };
  for (auto const& c : cases) {
    decoder d;
    d.feed(c.bytes);
    EXPECT_FALSE(d.next());
    EXPECT_EQ(d.error().find(c.error), 0u) << d.error();
    // Nothing good comes after it.
    d.feed(*writer(type::cancel).take());
    EXPECT_FALSE(d.next());
  }
}

TEST(wire, makes_no_frame_that_is_too_long) {
  writer w(type::emit);
  std::string const half(max_frame / 2, 'x');
  w.text(half);
  w.text(half);
  EXPECT_FALSE(std::move(w).take());
}

TEST(wire, passes_a_start_on) {
  start s;
  s.what = job::check;
  s.parent = 7;
  s.address_space = 1ull << 40;
  s.cpu_seconds = 9;
  s.file = "/a.so";
  s.stage = "nodes";
  s.options_json = "{}";
  s.source = "pve-a";
  s.dry = true;
  s.levels = 30;
  s.answers = "/answers";
  only_message(frame(s), [&](message const& m) {
    auto const got = parse_start(m);
    ASSERT_TRUE(got) << got.error().what;
    EXPECT_EQ(frame(*got), frame(s));
    EXPECT_EQ(got->answers, "/answers");
    EXPECT_FALSE(parse(m)) << "only weir sends one";
  });
  writer other(type::start);
  other.u32(version + 1);
  only_message(std::move(other).take(), [](message const& m) {
    auto const got = parse_start(m);
    ASSERT_FALSE(got);
    EXPECT_NE(got.error().what.find("speaks version"), std::string::npos);
  });
}

TEST(wire, passes_answers_on) {
  only_message(frame(3, base::result<void>{}), [](message const& m) { EXPECT_TRUE(parse_taken(m)); });
  only_message(frame(3, base::result<void>{base::fail(base::error_code::interrupted, "what", "hint")}),
               [](message const& m) {
                 auto const got = parse_taken(m);
                 ASSERT_FALSE(got);
                 EXPECT_EQ(got.error().code, base::error_code::interrupted);
                 EXPECT_EQ(got.error().what, "what");
                 EXPECT_EQ(got.error().hint, "hint");
               });
  only_message(frame(3, fetched{404, "body", "error", false}), [](message const& m) {
    auto const got = parse_answered(m);
    EXPECT_EQ(got.status, 404);
    EXPECT_EQ(got.body, "body");
    EXPECT_EQ(got.error, "error");
    EXPECT_FALSE(got.ok);
    EXPECT_THROW(parse_taken(m), std::runtime_error);
  });
  using value = base::result<std::optional<std::string>>;
  for (auto const& v : {std::optional<std::string>{}, std::optional<std::string>{""}, std::optional<std::string>{"v"}})
    only_message(frame(3, value(v)), [&](message const& m) {
      auto const got = parse_value(m);
      ASSERT_TRUE(got);
      EXPECT_EQ(*got, v);
    });
  only_message(frame(3, value(base::fail("no disk"))), [](message const& m) {
    auto const got = parse_value(m);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().what, "no disk");
  });
}

TEST(wire, what_the_host_threw_is_thrown_again) {
  writer w(type::threw, 3);
  w.text("the sink is full");
  only_message(std::move(w).take(), [](message const& m) {
    try {
      (void)parse_taken(m);
      FAIL();
    } catch (std::runtime_error const& e) {
      EXPECT_STREQ(e.what(), "the sink is full");
    }
  });
}

TEST(wire, passes_a_result_on) {
  said_done d;
  d.error = base::fail(base::error_code::credentials, "no", "yes");
  d.out_of_memory = true;
  d.text = "{}";
  only_message(frame(d), [](message const& m) {
    auto const said = parse(m);
    ASSERT_TRUE(said);
    auto const& got = std::get<said_done>(*said);
    EXPECT_FALSE(got.ok);
    EXPECT_EQ(got.error.code, base::error_code::credentials);
    EXPECT_EQ(got.error.text(), "no\n  hint: yes");
    EXPECT_TRUE(got.out_of_memory);
    EXPECT_EQ(got.text, "{}");
  });
}

TEST(wire, a_stage_cannot_end_the_run_as_it_likes) {
  said_done d;
  d.error = base::fail(base::error_code::locked, "another run is at work");
  only_message(frame(d), [](message const& m) {
    auto const said = parse(m);
    ASSERT_TRUE(said);
    EXPECT_EQ(std::get<said_done>(*said).error.code, base::error_code::failed);
  });
}

TEST(wire, passes_a_line_of_the_log_on) {
  only_message(frame(said_log{level::warning, "caf\xE9", {{"vmid", "1\xE9"}}}), [](message const& m) {
    auto const said = parse(m);
    ASSERT_TRUE(said);
    auto const& got = std::get<said_log>(*said);
    EXPECT_EQ(got.level, level::warning);
    EXPECT_EQ(got.message, "caf\xEF\xBF\xBD");
    ASSERT_EQ(got.fields.size(), 1u);
    EXPECT_EQ(got.fields[0].key, "vmid");
    EXPECT_EQ(got.fields[0].value, "1\xEF\xBF\xBD");
  });
}

TEST(wire, holds_a_child_to_the_contract) {
  auto const emit = [](std::string_view kind, std::string_view key, std::string_view fields) {
    writer w(type::emit, 1);
    w.text(kind).text(key).text(fields);
    return w;
  };
  EXPECT_EQ(refusal(emit("", "{}", "{}")), "an emit() with text that is empty or not UTF-8");
  EXPECT_EQ(refusal(emit("k", "{}", "\xE4")), "an emit() with text that is empty or not UTF-8");
  auto longer = emit("k", "{}", "{}");
  longer.u8(0);
  EXPECT_EQ(refusal(std::move(longer)), "a message of the wrong length");
  EXPECT_EQ(refusal(writer(type::emit, 1)), "a message of the wrong length");
  auto const one = [](type what, std::string_view text) {
    writer w(what, 1);
    w.text(text);
    return w;
  };
  EXPECT_EQ(refusal(one(type::fetch, "/a b")), "a fetch() of an ill-formed target");
  EXPECT_EQ(refusal(one(type::fetch, "/a\r\nX:")), "a fetch() of an ill-formed target");
  EXPECT_EQ(refusal(one(type::netbox_read, "")), "a read() of an ill-formed target");
  EXPECT_EQ(refusal(one(type::state_get, "caf\xC3\xA9")), "an ill-formed key of the state");
  EXPECT_EQ(refusal(one(type::state_get, std::string(129, 'k'))), "an ill-formed key of the state");
  EXPECT_EQ(refusal(one(type::taken, "")), "a message that only weir itself sends");
  writer brew(type::netbox_write, 1);
  brew.text("BREW").text("/pots/").text("");
  EXPECT_EQ(refusal(std::move(brew)), "an ill-formed write()");
  auto const metric = [](std::uint8_t kind, std::string_view name, double value) {
    writer w(type::metric, 1);
    w.u8(kind).text(name).f64(value);
    return w;
  };
  EXPECT_EQ(refusal(metric(0, "guests_total", -1)), "an ill-formed metric");
  EXPECT_EQ(refusal(metric(1, "guests", std::nan(""))), "an ill-formed metric");
  EXPECT_EQ(refusal(metric(1, "guests", std::numeric_limits<double>::infinity())), "an ill-formed metric");
  EXPECT_EQ(refusal(metric(1, "Guests", 1)), "an ill-formed metric");
  EXPECT_EQ(refusal(metric(2, "guests", 1)), "an ill-formed metric");
  EXPECT_EQ(refusal(one(type::scope, "x")), "a message of the wrong length");
  writer put(type::state_put, 1);
  put.text("k").u8(1).text(std::string((64 << 10) + 1, 'v'));
  EXPECT_EQ(refusal(std::move(put)), "an ill-formed key or value of the state");
  writer log(type::log);
  log.u8(2).text("m").u32(17);
  EXPECT_EQ(refusal(std::move(log)), "a log line with too many fields");
  writer phase(type::phase);
  phase.u8(9);
  EXPECT_EQ(refusal(std::move(phase)), "a phase that there is not");
}

}  // namespace
}  // namespace weir::plugin::wire
