// weir/options.hpp: a stage's options, described once: the JSON Schema that weir checks, and a typed read of what
// passed.
//
//   struct pools {
//     static constexpr auto options = weir::schema(
//         weir::option<"prefix", std::string>{.help = "what every name begins with", .fallback = "pool-"},
//         weir::option<"limit", int>{.help = "so many at most", .fallback = 100, .min = 1, .max = 1000},
//         weir::option<"skip", std::vector<std::string>>{.help = "pools to leave out"},
//         weir::option<"colour", std::optional<std::string>>{.one_of = {"red", "green"}});
//     static constexpr weir::info about{.id = "pools", ..., .options_schema = weir::json_schema<options>};
//     explicit pools(weir::context const& c) : options_(c) {}
//     void collect(weir::run&) { ... options_.get<"prefix">() ... }
//     weir::values<options> options_;
//   };
//
// An option is bool, an integer, a floating point number, std::string, std::vector<std::string> (absent: empty), or
// std::optional of one of the first four (absent: empty). Any other has a fallback or is required. A name that the
// schema does not have, or another type, does not compile.
#pragma once
#include <weir/stage.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {

// Text as a template argument.
template <std::size_t N>
struct fixed_string {
  char text[N]{};
  consteval fixed_string(char const (&from)[N]) { std::copy_n(from, N, text); }
  constexpr std::string_view view() const { return {text, N - 1}; }
};

namespace detail {

template <class T>
struct unwrapped {
  using type = T;
  static constexpr bool is_optional = false;
};
template <class T>
struct unwrapped<std::optional<T>> {
  using type = T;
  static constexpr bool is_optional = true;
};

template <class T>
inline constexpr bool is_list = std::same_as<T, std::vector<std::string>>;
template <class T>
inline constexpr bool is_text = std::same_as<T, std::string>;
template <class T>
inline constexpr bool is_number = std::integral<T> && !std::same_as<T, bool> ? true : std::floating_point<T>;
template <class T>
inline constexpr bool is_scalar = std::same_as<T, bool> || is_number<T> || is_text<T>;

struct not_for_this_type {
  constexpr not_for_this_type() {}
};

// What an option of type T keeps of a value at compile time.
template <class T>
using literal = std::conditional_t<is_text<T>, std::string_view, T>;
template <class T>
using fallback_of = std::conditional_t<is_scalar<T>, std::optional<literal<T>>, not_for_this_type>;
template <class T>
using bound_of = std::conditional_t<is_number<typename unwrapped<T>::type>, std::optional<typename unwrapped<T>::type>,
                                    not_for_this_type>;
struct choices {
  std::string_view words[16]{};
  std::size_t count = 0;
  constexpr choices() = default;
  constexpr choices(std::initializer_list<std::string_view> from) {
    for (auto const w : from) words[count++] = w;
  }
  constexpr bool allow(std::string_view v) const {
    return count == 0 || std::find(words, words + count, v) != words + count;
  }
};
template <class T>
using choice_of = std::conditional_t<is_text<typename unwrapped<T>::type> || is_list<T>, choices, not_for_this_type>;

}  // namespace detail

template <fixed_string Name, class T>
struct option {
  using value = typename detail::unwrapped<T>::type;
  static_assert(
      detail::is_scalar<value> || detail::is_list<T>,
      "weir: an option is bool, a number, std::string, std::vector<std::string>, or std::optional of a scalar");
  using type = T;
  static constexpr std::string_view name = Name.view();

  std::string_view help{};            // for people: `weir config explain`, editors
  detail::fallback_of<T> fallback{};  // its value where it is absent
  detail::bound_of<T> min{}, max{};   // numbers
  detail::choice_of<T> one_of{};      // text: these only; up to 16
  bool required = false;
};

namespace detail {

// Called while compiling only: the compiler names the function that it cannot call.
inline void an_option_needs_a_fallback_or_required_and_not_both() {}
inline void two_options_have_the_same_name() {}
inline void an_option_is_named_with_a_letter_then_letters_digits_and_underscores() {}
inline void the_fallback_is_not_one_of_those_allowed() {}
inline void min_is_more_than_max() {}
inline void a_number_of_the_schema_has_more_than_nine_decimals() {}

// Whether `v` is inside the option's limits.
template <class Option, class V>
constexpr bool allowed(Option const& o, V const& v) {
  using value = typename Option::value;
  if constexpr (is_number<value>) {
    return !(o.min && v < *o.min) && !(o.max && v > *o.max);
  } else if constexpr (is_text<value> || is_list<value>) {
    return o.one_of.allow(v);
  } else {
    return true;
  }
}

template <class Option>
consteval void check_option(Option const& o) {
  using type = typename Option::type;
  auto const letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  bool good_name = !Option::name.empty() && letter(Option::name.front());
  for (char const c : Option::name) good_name = good_name && (letter(c) || (c >= '0' && c <= '9') || c == '_');
  if (!good_name) an_option_is_named_with_a_letter_then_letters_digits_and_underscores();
  if constexpr (is_number<typename Option::value>) {
    if (o.min && o.max && *o.min > *o.max) min_is_more_than_max();
  }
  if constexpr (is_scalar<type>) {
    if (o.fallback.has_value() == o.required) an_option_needs_a_fallback_or_required_and_not_both();
    if (o.fallback && !allowed(o, *o.fallback)) the_fallback_is_not_one_of_those_allowed();
  }
}

// Writes the schema's text, or only counts it.
struct writer {
  char* to = nullptr;
  std::size_t size = 0;

  constexpr void put(char c) {
    if (to != nullptr) to[size] = c;
    ++size;
  }
  constexpr void raw(std::string_view text) {
    for (char const c : text) put(c);
  }
  constexpr void quoted(std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    put('"');
    for (char const c : text) {
      if (c == '"' || c == '\\') put('\\');
      if (static_cast<unsigned char>(c) < 0x20) {
        raw("\\u00");
        put(hex[static_cast<unsigned char>(c) >> 4]);
        put(hex[static_cast<unsigned char>(c) & 15]);
      } else {
        put(c);
      }
    }
    put('"');
  }
  constexpr void digits(std::uint64_t n, int at_least = 1) {
    char text[20]{};
    int count = 0;
    for (; n != 0 || count < at_least; n /= 10) text[count++] = static_cast<char>('0' + n % 10);
    while (count > 0) put(text[--count]);
  }
  template <class T>
  constexpr void value(T const& v) {
    if constexpr (std::same_as<T, bool>) {
      raw(v ? "true" : "false");
    } else if constexpr (std::integral<T>) {
      if (v < 0) put('-');
      digits(v < 0 ? 0 - static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v));
    } else if constexpr (std::floating_point<T>) {
      decimal(static_cast<double>(v));
    } else {
      quoted(v);
    }
  }
  // Exactly: the fewest decimals that read back as the same number.
  constexpr void decimal(double v) {
    if (v < 0) put('-');
    double const size_of = v < 0 ? -v : v;
    std::uint64_t scale = 1;
    for (int decimals = 0; decimals <= 9; ++decimals, scale *= 10) {
      double const scaled = size_of * static_cast<double>(scale);
      if (scaled >= 9007199254740992.0) break;
      auto const n = static_cast<std::uint64_t>(scaled + 0.5);
      if (static_cast<double>(n) / static_cast<double>(scale) != size_of) continue;
      digits(n / scale);
      if (decimals == 0) return;
      put('.');
      return digits(n % scale, decimals);
    }
    a_number_of_the_schema_has_more_than_nine_decimals();
  }

  template <class Option>
  constexpr void choice(Option const& o) {
    for (std::size_t i = 0; i < o.one_of.count; ++i) {
      raw(i == 0 ? R"(,"enum":[)" : ",");
      quoted(o.one_of.words[i]);
    }
    if (o.one_of.count != 0) put(']');
  }
  template <class Option>
  constexpr void property(Option const& o) {
    using value_type = typename Option::value;
    if (!first) put(',');
    first = false;
    quoted(Option::name);
    raw(R"(:{"type":)");
    raw(is_list<value_type>               ? R"("array","items":{"type":"string")"
        : is_text<value_type>             ? R"("string")"
        : std::same_as<value_type, bool>  ? R"("boolean")"
        : std::floating_point<value_type> ? R"("number")"
                                          : R"("integer")");
    if constexpr (is_text<value_type> || is_list<value_type>) choice(o);
    if constexpr (is_list<value_type>) put('}');
    if (!o.help.empty()) {
      raw(R"(,"description":)");
      quoted(o.help);
    }
    if constexpr (is_number<value_type>) {
      if (o.min) raw(R"(,"minimum":)"), value(*o.min);
      if (o.max) raw(R"(,"maximum":)"), value(*o.max);
    }
    if constexpr (is_scalar<typename Option::type>) {
      if (o.fallback) raw(R"(,"default":)"), value(*o.fallback);
    }
    put('}');
  }
  template <class Option>
  constexpr void requirement(Option const& o) {
    if (!o.required) return;
    raw(any_required ? "," : R"(,"required":[)");
    any_required = true;
    quoted(Option::name);
  }
  bool first = true, any_required = false;
};

}  // namespace detail

// What schema() makes.
template <class... Options>
class schema_of {
 public:
  std::tuple<Options...> options;
  using types = std::tuple<typename Options::type...>;

  static constexpr std::size_t size = sizeof...(Options);
  // The place of the option with this name; `size` if there is none.
  static constexpr std::size_t find([[maybe_unused]] std::string_view name) {
    std::size_t at = 0;
    (void)((Options::name == name ? true : (++at, false)) || ...);
    return at;
  }
  constexpr std::size_t write(char* to) const { return write(to, std::make_index_sequence<size>{}); }

 private:
  template <std::size_t... I>
  constexpr std::size_t write(char* to, std::index_sequence<I...>) const {
    detail::writer w{to};
    w.raw(R"({"type":"object","additionalProperties":false,"properties":{)");
    (w.property(std::get<I>(options)), ...);
    w.put('}');
    (w.requirement(std::get<I>(options)), ...);
    if (w.any_required) w.put(']');
    w.put('}');
    return w.size;
  }
};

// The options of a stage. What is wrong with them is a compile error that names the rule.
template <class... Options>
consteval schema_of<Options...> schema(Options... options) {
  (detail::check_option(options), ...);
  std::string_view const names[] = {Options::name..., std::string_view{}};
  for (std::size_t i = 0; i < sizeof...(Options); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (names[i] == names[j]) detail::two_options_have_the_same_name();
  return {{options...}};
}

namespace detail {

template <auto const& Schema>
consteval auto schema_text() {
  std::array<char, Schema.write(nullptr) + 1> text{};
  Schema.write(text.data());
  return text;
}
template <auto const& Schema>
inline constexpr auto schema_text_of = schema_text<Schema>();

// Reads the one object that holds the options: weir wrote it, so this is no judge of JSON, but it survives any bytes.
// By hand (instead of json.hpp), so that a stage with a few options need not bring a JSON library.
class options_reader {
  std::string_view text_;
  std::size_t at_ = 0;

 public:
  explicit options_reader(std::string_view text) : text_(text) {}

  [[noreturn]] static void broken() {
    throw error("the options handed to the stage are no JSON object", {}, WEIR_E_INVALID);
  }
  char peek() {
    while (at_ < text_.size() && std::string_view{" \t\r\n"}.find(text_[at_]) != std::string_view::npos) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) broken();
  }
  bool at_end() { return peek() == '\0' && at_ == text_.size(); }

  // true, null, 12, -0.5e3: everything that is not quoted and holds nothing.
  std::string_view word() {
    peek();
    auto const from = at_;
    while (at_ < text_.size() && std::string_view{",]}: \t\r\n"}.find(text_[at_]) == std::string_view::npos) ++at_;
    if (at_ == from) broken();
    return text_.substr(from, at_ - from);
  }
  std::string string() {
    expect('"');
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) broken();
      char const c = text_[at_++];
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) broken();
      char const e = text_[at_++];
      constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
      if (auto const i = from.find(e); i != from.npos)
        out += to[i];
      else if (e == 'u')
        add_utf8(out, code_point());
      else
        broken();
    }
  }
  // Goes over a value of any shape.
  void skip(int depth = 0) {
    if (depth > 100) broken();
    if (peek() == '"') {
      string();
    } else if (char const open = peek(); open == '{' || open == '[') {
      char const close = open == '{' ? '}' : ']';
      ++at_;
      if (take(close)) return;
      do {
        if (open == '{') {
          string();
          expect(':');
        }
        skip(depth + 1);
      } while (take(','));
      expect(close);
    } else {
      word();
    }
  }

 private:
  unsigned four_digits() {
    unsigned n = 0;
    if (text_.size() - at_ < 4) broken();
    auto const [end, e] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, n, 16);
    if (e != std::errc{} || end != text_.data() + at_ + 4) broken();
    at_ += 4;
    return n;
  }
  unsigned code_point() {
    unsigned const high = four_digits();
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high > 0xDBFF || text_.substr(at_, 2) != "\\u") return 0xFFFD;
    at_ += 2;
    unsigned const low = four_digits();
    return low < 0xDC00 || low > 0xDFFF ? 0xFFFD : 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
  }
  static void add_utf8(std::string& out, unsigned c) {
    auto const add = [&](unsigned byte) { out += static_cast<char>(byte); };
    if (c < 0x80) return add(c);
    if (c < 0x800) {
      add(0xC0 | c >> 6);
    } else if (c < 0x10000) {
      add(0xE0 | c >> 12);
      add(0x80 | (c >> 6 & 0x3F));
    } else {
      add(0xF0 | c >> 18);
      add(0x80 | (c >> 12 & 0x3F));
      add(0x80 | (c >> 6 & 0x3F));
    }
    add(0x80 | (c & 0x3F));
  }
};

// One value as a V; nothing if it is of another type.
template <class V>
std::optional<V> read_value(options_reader& from) {
  bool const quoted = from.peek() == '"';
  if constexpr (is_list<V>) {
    if (!from.take('[')) return std::nullopt;
    V out;
    if (from.take(']')) return out;
    do {
      if (from.peek() != '"') return std::nullopt;
      out.push_back(from.string());
    } while (from.take(','));
    from.expect(']');
    return out;
  } else if constexpr (is_text<V>) {
    if (!quoted) return std::nullopt;
    return from.string();
  } else {
    if (quoted || from.peek() == '[' || from.peek() == '{') return std::nullopt;
    auto const word = from.word();
    if constexpr (std::same_as<V, bool>) {
      if (word == "true" || word == "false") return word == "true";
      return std::nullopt;
    } else {
      V out{};
      auto const* const end = word.data() + word.size();
      if (auto const r = std::from_chars(word.data(), end, out); r.ec == std::errc{} && r.ptr == end) return out;
      if constexpr (std::integral<V>) {  // 1.0 and 1e3 are integers, too
        double d = 0;
        auto const r = std::from_chars(word.data(), end, d);
        constexpr double past_max = static_cast<double>(std::numeric_limits<V>::max() / 2 + 1) * 2;
        if (r.ec != std::errc{} || r.ptr != end || !(d >= static_cast<double>(std::numeric_limits<V>::min())) ||
            !(d < past_max))
          return std::nullopt;
        if (static_cast<double>(static_cast<V>(d)) == d) return static_cast<V>(d);
      }
      return std::nullopt;
    }
  }
}

}  // namespace detail

// The schema as JSON text in static storage, for weir::info.options_schema.
template <auto const& Schema>
inline constexpr char const* json_schema = detail::schema_text_of<Schema>.data();

// The options of one run, read and checked once. Throws weir::error for those that are against the schema (weir itself
// hands over none of them).
template <auto const& Schema>
class values {
  using schema_type = std::remove_cvref_t<decltype(Schema)>;
  typename schema_type::types values_{};

 public:
  explicit values(context const& c) : values(c.options_json) {}
  explicit values(std::string_view options_json) {
    std::array<bool, schema_type::size + 1> present{};
    if (options_json.empty()) options_json = "{}";
    detail::options_reader from(options_json);
    from.expect('{');
    if (!from.take('}')) {
      do {
        auto const name = from.string();
        from.expect(':');
        auto const at = schema_type::find(name);
        if (at == schema_type::size) throw error("there is no option \"" + name + "\"", {}, WEIR_E_INVALID);
        read(from, at, present[at], indices{});
      } while (from.take(','));
      from.expect('}');
    }
    if (!from.at_end()) detail::options_reader::broken();
    fill(present, indices{});
  }

  // options.get<"prefix">(); with a second argument, the type that is expected: options.get<"prefix", std::string>().
  template <fixed_string Name, class Expected = void>
  auto const& get() const noexcept {
    constexpr auto at = schema_type::find(Name.view());
    static_assert(at < schema_type::size, "weir: the schema has no option of this name");
    if constexpr (at < schema_type::size) {
      using type = std::tuple_element_t<at, typename schema_type::types>;
      static_assert(std::is_void_v<Expected> || std::same_as<Expected, type>,
                    "weir: the schema gives this option another type");
      return std::get<at>(values_);
    } else {
      return values_;
    }
  }

 private:
  using indices = std::make_index_sequence<schema_type::size>;

  template <std::size_t... I>
  void read(detail::options_reader& from, std::size_t at, bool& present, std::index_sequence<I...>) {
    (void)((I == at ? (present = read_one<I>(from), true) : false) || ...);
  }
  template <std::size_t I>
  bool read_one(detail::options_reader& from) {
    auto const& option = std::get<I>(Schema.options);
    using value = typename std::remove_cvref_t<decltype(option)>::value;
    if (from.peek() == 'n') return from.word() != "null";
    auto got = detail::read_value<value>(from);
    bool good = got.has_value();
    if constexpr (detail::is_list<value>) {
      if (good) good = std::all_of(got->begin(), got->end(), [&](auto const& v) { return detail::allowed(option, v); });
    } else {
      if (good) good = detail::allowed(option, *got);
    }
    if (!good) {
      throw error("the option \"" + std::string{option.name} + "\" has a value that its schema does not allow", {},
                  WEIR_E_INVALID);
    }
    std::get<I>(values_) = std::move(*got);
    return true;
  }
  template <std::size_t... I>
  void fill(std::array<bool, schema_type::size + 1> const& present, std::index_sequence<I...>) {
    (void)((present[I] ? true : (fill_one<I>(), true)) && ...);
  }
  template <std::size_t I>
  void fill_one() {
    auto const& option = std::get<I>(Schema.options);
    using type = typename std::remove_cvref_t<decltype(option)>::type;
    if (option.required) throw error("the option \"" + std::string{option.name} + "\" is missing", {}, WEIR_E_INVALID);
    if constexpr (detail::is_scalar<type>) std::get<I>(values_) = type(*option.fallback);
  }
};

}  // namespace weir
