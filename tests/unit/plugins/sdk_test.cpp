// The wrapper over the C contract, and the host in memory, each against stages that misbehave.
#include <gtest/gtest.h>

#include <thread>
#include <weir/testing.hpp>

namespace {
using weir::json;
using weir::level;
using weir::testing::host;
using weir::testing::outcome;
using weir::testing::stage_of;

// A stage whose collect() is whatever the test wants.
struct scripted {
  static constexpr weir::info about{.id = "scripted", .version = "1", .title = "t", .kinds_json = R"(["extras.tag",
      {"kind":"x.thing","path":"plugins/x/things","key":["owner","name"],"refs":{"owner":"extras.tag"},"times":["at"]}])"};
  static inline std::function<void(weir::run&)> body;
  explicit scripted(weir::context const&) {}
  void collect(weir::run& r) { body(r); }
};

outcome run(host& h, std::function<void(weir::run&)> body, bool dry = false) {
  scripted::body = std::move(body);
  return h.run(stage_of<scripted>(), json::object(), "src", dry);
}
bool violates(outcome const& out, std::string const& what) {
  return std::any_of(out.violations.begin(), out.violations.end(),
                     [&](auto const& v) { return v.find(what) != std::string::npos; });
}

TEST(wrapper, what_is_thrown_becomes_a_status_and_a_message) {
  host h;
  auto out = run(h, [](weir::run&) { throw weir::error("no luck", "try again"); });
  EXPECT_EQ(out.status, WEIR_E_FAILED);
  EXPECT_EQ(out.message, "no luck");
  EXPECT_EQ(out.hint, "try again");
  EXPECT_TRUE(out.violations.empty()) << out.text();

  EXPECT_EQ(run(h, [](weir::run&) { throw std::runtime_error("plain"); }).message, "plain");
  EXPECT_EQ(run(h, [](weir::run&) { throw 5; }).status, WEIR_E_FAILED);
  EXPECT_EQ(run(h, [](weir::run&) { throw std::bad_alloc(); }).status, WEIR_E_NOMEM);
  // An error may not look like success.
  EXPECT_EQ(run(h, [](weir::run&) { throw weir::error("x", "", WEIR_OK); }).status, WEIR_E_FAILED);
}

TEST(wrapper, a_list_is_handed_over_item_by_item) {
  host h;
  auto const rows = [&](std::string const& body) {
    std::vector<json> out;
    std::string fault;
    h.answer("/list", body);
    auto const ended = run(h, [&](weir::run& r) {
      auto const got = r.fetch("/list");
      weir::each_of_data("/list", got, [&](json const& row) { out.push_back(row); });
    });
    return std::pair(out, ended.message);
  };
  EXPECT_EQ(rows(R"({"data":[{"a":1,"in":{"b":[{"c":2}]}},3,{},null,{"a":2}],"total":2})").first,
            (std::vector<json>{{{"a", 1}, {"in", {{"b", json::array({{{"c", 2}}})}}}}, json::object(), {{"a", 2}}}));
  EXPECT_EQ(rows(R"({"data":[]})").first, std::vector<json>{});
  // Only what is in the list itself.
  EXPECT_EQ(rows(R"({"meta":{"x":{"y":1}},"more":[{"z":1}],"data":[{"a":1}],"rest":[{"z":2}]})").first,
            (std::vector<json>{{{"a", 1}}}));
  EXPECT_EQ(rows(R"({"data":{"a":{"b":1}}})").second, "the answer of /list holds object where a list was expected");
  EXPECT_EQ(rows(R"({"nodata":1})").second, "the answer of /list has no member \"data\"");
  EXPECT_EQ(rows("[1]").second, "the answer of /list has no member \"data\"");
  auto const cut = rows(R"({"data":[{"a":1},{"a":)");
  EXPECT_EQ(cut.first, (std::vector<json>{{{"a", 1}}}));
  EXPECT_NE(cut.second.find("truncated?"), std::string::npos) << cut.second;
}

struct refuses_options {
  static constexpr weir::info about{.id = "refuses", .version = "1", .title = "t"};
  explicit refuses_options(weir::context const& c) {
    throw weir::error("bad option " + weir::options(c).at("a").get<std::string>());
  }
  void collect(weir::run&) {}
};
TEST(wrapper, a_constructor_may_refuse) {
  host h;
  auto const out = h.run(stage_of<refuses_options>(), {{"a", "b"}});
  EXPECT_EQ(out.status, WEIR_E_FAILED);
  EXPECT_EQ(out.message, "bad option b");
}

TEST(wrapper, fetch_throws_what_the_host_said) {
  host h;
  h.refuse("/x", 503, "busy");
  unsigned seen = 0;
  auto const out = run(h, [&](weir::run& r) {
    auto const quiet = r.try_fetch("/x");
    EXPECT_FALSE(quiet.ok());
    EXPECT_EQ(quiet.http_status(), 503U);
    EXPECT_EQ(quiet.error(), "GET /x: busy");
    try {
      r.fetch("/x");
    } catch (weir::source_error const& e) {
      seen = e.http_status;
      throw;
    }
  });
  EXPECT_EQ(seen, 503U);
  EXPECT_EQ(out.status, WEIR_E_SOURCE);
  EXPECT_EQ(out.message, "GET /x: busy");
  EXPECT_TRUE(out.violations.empty()) << out.text();  // every reply given back, on the way of an exception too
}

TEST(wrapper, fetch_many_gives_each_target_once_and_failures_as_values) {
  for (bool const backwards : {false, true}) {
    host h;
    h.answer("/a", "1");
    h.refuse("/b", 500, "no");
    h.answer("/c", "3");
    if (backwards) h.answer_backwards();
    std::map<std::size_t, std::string> got;
    auto const out = run(h, [&](weir::run& r) {
      std::vector<std::string> const targets{"/a", "/b", "/c"};
      r.fetch_many(targets, [&](std::size_t i, weir::reply const& reply) {
        EXPECT_TRUE(got.emplace(i, reply.ok() ? std::string{reply.body()} : std::string{reply.error()}).second);
      });
      r.fetch_many(std::vector<std::string>{}, [](std::size_t, weir::reply const&) { FAIL(); });
    });
    EXPECT_TRUE(out.ok()) << out.text();
    EXPECT_EQ(got, (std::map<std::size_t, std::string>{{0, "1"}, {1, "GET /b: no"}, {2, "3"}}));
  }
}

TEST(wrapper, what_a_callback_throws_crosses_the_c_frame_as_a_value) {
  host h;
  for (auto const* t : {"/a", "/b", "/c"}) h.answer(t, "{}");
  int calls = 0;
  auto const out = run(h, [&](weir::run& r) {
    r.fetch_many(std::vector<std::string>{"/a", "/b", "/c"}, [&](std::size_t i, weir::reply const&) {
      ++calls;
      if (i == 1) throw weir::error("second");
    });
  });
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(out.message, "second");
  EXPECT_TRUE(out.violations.empty()) << out.text();

  auto const stopped = run(h, [](weir::run& r) {
    r.fetch_many(std::vector<std::string>{"/a"}, [](std::size_t, weir::reply const&) { throw std::string("odd"); });
  });
  EXPECT_EQ(stopped.status, WEIR_E_FAILED);
}

TEST(wrapper, a_stop_passes_through_everything) {
  host h;
  h.answer("/a", "{}");
  h.cancel_after(2);
  int after = 0;
  auto const out = run(h, [&](weir::run& r) {
    r.fetch_many(std::vector<std::string>{"/a", "/a", "/a", "/a"}, [](std::size_t, weir::reply const&) {});
    ++after;
  });
  EXPECT_EQ(out.status, WEIR_CANCELLED);
  EXPECT_EQ(after, 0);
  EXPECT_TRUE(out.violations.empty()) << out.text();
  EXPECT_EQ(run(h,
                [](weir::run& r) {
                  for (;;) r.check(), r.emit_json("extras.tag", R"({"slug":"a"})", "{}");
                })
                .status,
            WEIR_CANCELLED);
}

TEST(wrapper, netbox_is_optional_and_records_while_planning) {
  host h;
  h.answer_netbox("/status/", "{}");
  h.refuse_netbox("/x/", 403, "no permission");
  auto out = run(
      h,
      [](weir::run& r) {
        auto const netbox = r.netbox();
        ASSERT_TRUE(netbox);
        EXPECT_EQ(netbox->read("/status/").body(), "{}");
        EXPECT_EQ(netbox->write("POST", "/y/", "{}").http_status(), 0U);
        netbox->read("/x/");
      },
      true);
  EXPECT_EQ(out.status, WEIR_E_NETBOX);
  EXPECT_EQ(out.message, "no permission (/x/)");
  ASSERT_EQ(out.netbox_requests.size(), 3U);
  EXPECT_EQ(out.netbox_requests[1].method, "POST");
  EXPECT_TRUE(out.violations.empty()) << out.text();
  h.without_netbox();
  EXPECT_TRUE(run(h, [](weir::run& r) { EXPECT_FALSE(r.netbox()); }).ok());
}

TEST(wrapper, emit_says_what_the_host_refused) {
  host h;
  auto const out = run(h, [](weir::run& r) { r.emit_json("x.unknown", R"({"a":1})", "{}"); });
  EXPECT_EQ(out.status, WEIR_E_INVALID);
  EXPECT_NE(out.message.find("emit x.unknown {\"a\":1}"), std::string::npos) << out.message;
}

TEST(json_text, is_always_utf8) {
  host h;
  auto const out = run(h, [](weir::run& r) { weir::emit(r, "extras.tag", {{"slug", "a"}}, {{"name", "caf\xe9"}}); });
  ASSERT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(out.objects.at(0).fields.at("name"), "caf\xEF\xBF\xBD");
}

TEST(json_text, faults_name_target_and_place) {
  auto const message = [](std::string const& body) -> std::string {
    try {
      weir::parse("/cluster/resources", body);
    } catch (weir::source_error const& e) {
      return e.what();
    }
    return "no fault";
  };
  auto const cut = message(R"({"data":[{"a":1)");
  EXPECT_NE(cut.find("the answer of /cluster/resources is no JSON"), std::string::npos) << cut;
  EXPECT_NE(cut.find("of 15: truncated?"), std::string::npos) << cut;
  EXPECT_EQ(message(R"({"data":[}]})").find("truncated"), std::string::npos);
  EXPECT_NE(message("<html></html>").find("web page"), std::string::npos);
  EXPECT_EQ(message(""), "the answer of /cluster/resources is empty");
  host h;
  h.answer("/x", R"({"errors":1})");
  EXPECT_NE(run(h, [](weir::run& r) { weir::fetch(r, "/x"); }).message.find("no member \"data\""), std::string::npos);
}

// The host in memory has to find what weir would only suffer from.
TEST(strict_host, keys) {
  host h;
  auto const emit = [&](json const& key, json const& fields) {
    return run(h, [&](weir::run& r) { weir::emit(r, "x.thing", key, fields); });
  };
  EXPECT_TRUE(emit({{"owner", {{"slug", "a"}}}, {"name", "n"}}, json::object()).ok());
  EXPECT_TRUE(violates(emit({{"name", "n"}}, json::object()), "wants"));
  EXPECT_TRUE(violates(emit({{"owner", {{"slug", "a"}}}, {"name", "n"}, {"more", 1}}, json::object()), "wants"));
  EXPECT_TRUE(violates(emit({{"owner", {{"id", 5}}}, {"name", "n"}}, json::object()), "member owner"));
  EXPECT_TRUE(violates(emit({{"owner", {{"slug", "a"}}}, {"name", nullptr}}, json::object()), "null"));
}

TEST(strict_host, fields) {
  host h;
  auto const emit = [&](json const& fields) {
    return run(h, [&](weir::run& r) { weir::emit(r, "x.thing", {{"owner", {{"slug", "a"}}}, {"name", "n"}}, fields); });
  };
  EXPECT_TRUE(emit({{"at", "2026-01-02T03:04:05Z"}, {"tags", {"a", "b"}}, {"custom_fields", {{"c", 1}}}}).ok());
  EXPECT_TRUE(violates(emit({{"at", "2026-01-02T03:04:05+01:00"}}), "instant"));
  EXPECT_TRUE(violates(emit({{"$create", {{"at", 5}}}}), "instant"));
  EXPECT_TRUE(violates(emit({{"tags", "a"}}), "tags"));
  EXPECT_TRUE(violates(emit({{"custom_fields", 1}}), "custom_fields"));
  EXPECT_TRUE(violates(emit({{"name", "again"}}), "belongs into the key"));
  EXPECT_TRUE(violates(emit({{"$create", 1}}), "$create"));
}

TEST(strict_host, order_and_repetition) {
  host h;
  json const key{{"slug", "a"}};
  EXPECT_TRUE(violates(run(h,
                           [&](weir::run& r) {
                             weir::emit(r, "extras.tag", key, {{"name", "x"}});
                             weir::emit(r, "extras.tag", key, {{"name", "y"}});
                           }),
                       "twice"));
  EXPECT_TRUE(violates(run(h,
                           [&](weir::run& r) {
                             weir::complete(r, "extras.tag", {{"name", "x"}});
                             weir::emit(r, "extras.tag", key, {{"name", "x"}});
                           }),
                       "after its scope"));
  EXPECT_TRUE(violates(run(h, [&](weir::run& r) { weir::complete(r, "extras.tag", json::object()); }), "scope"));
  EXPECT_TRUE(violates(run(h, [&](weir::run& r) { weir::complete(r, "x.other", {{"a", 1}}); }), "x.other"));
}

TEST(strict_host, bytes_that_are_no_text) {
  host h;
  EXPECT_TRUE(violates(run(h, [](weir::run& r) { r.emit_json("extras.tag", "{\"slug\":\"\xff\"}", "{}"); }), "UTF-8"));
  EXPECT_TRUE(violates(run(h, [](weir::run& r) { r.notice(level::warn, "\xff"); }), "UTF-8"));
}

TEST(strict_host, threads) {
  host h;
  auto const elsewhere = [&](std::function<void(weir::run&)> const& f) {
    return run(h, [&](weir::run& r) { std::thread([&] { f(r); }).join(); });
  };
  EXPECT_TRUE(violates(elsewhere([](weir::run& r) { weir::complete(r, "extras.tag", {{"a", 1}}); }), "another thread"));
  EXPECT_TRUE(elsewhere([](weir::run& r) {
                weir::emit(r, "extras.tag", {{"slug", "a"}}, json::object());
                r.progress(1, 2);
                r.notice(level::info, "from there");
              }).ok());
}

TEST(strict_host, a_swallowed_stop) {
  host h;
  h.cancel_after(0);
  EXPECT_TRUE(violates(run(h,
                           [](weir::run& r) {
                             try {
                               r.fetch("/x");
                             } catch (weir::cancelled const&) {
                             }
                           }),
                       "swallowed"));
}

// Plain C functions, as somebody might write them without the wrapper.
weir_status leaks(void*, weir_run const* r) {
  weir_reply const* reply = nullptr;
  r->fetch(r, weir::str("/a"), &reply);
  return WEIR_OK;
}
weir_status releases_twice(void*, weir_run const* r) {
  weir_reply const* reply = nullptr;
  r->fetch(r, weir::str("/a"), &reply);
  reply->release(reply);
  reply->release(reply);
  return WEIR_OK;
}
weir_status fails_silently(void*, weir_run const*) { return WEIR_E_FAILED; }

outcome run_c(weir_status (*collect)(void*, weir_run const*)) {
  weir_stage stage = stage_of<scripted>();
  stage.create = [](weir_host const*, weir_str, void** self) -> weir_status {
    *self = nullptr;
    return WEIR_OK;
  };
  stage.collect = collect;
  stage.destroy = [](void*) {};
  host h;
  h.answer("/a", "{}");
  return h.run(stage);
}

TEST(strict_host, replies_are_released_exactly_once) {
  EXPECT_TRUE(violates(run_c(leaks), "never released"));
  EXPECT_TRUE(violates(run_c(releases_twice), "released twice"));
}
TEST(strict_host, an_error_has_a_reason) { EXPECT_TRUE(violates(run_c(fails_silently), "without fail()")); }

}  // namespace
