#ifndef PTYCHOSERVE_TESTS_BENCH_BENCH_JSON_H_
#define PTYCHOSERVE_TESTS_BENCH_BENCH_JSON_H_

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace ptychoserve {

// Writes one JSON object, member by member; just enough for results, and without the library
// that only the server needs. The names of the methods say the type, so that none is guessed.
class JsonObject {
 public:
  // What is not finite becomes null.
  void AddNumber(absl::string_view name, double value) {
    Add(name, std::isfinite(value) ? absl::StrFormat("%.10g", value) : "null");
  }
  void AddBool(absl::string_view name, bool value) { Add(name, value ? "true" : "false"); }
  void AddString(absl::string_view name, absl::string_view value) { Add(name, Quoted(value)); }
  void AddObject(absl::string_view name, const JsonObject& value) { Add(name, value.Text()); }
  void AddObjects(absl::string_view name, const std::vector<JsonObject>& values) {
    Add(name, absl::StrCat("[", absl::StrJoin(values, ",\n", AppendText), "]"));
  }

  std::string Text() const { return absl::StrCat("{", members_, "}"); }

 private:
  static void AppendText(std::string* out, const JsonObject& value) {
    absl::StrAppend(out, value.Text());
  }

  static std::string Quoted(absl::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return quoted + '"';
  }

  void Add(absl::string_view name, absl::string_view value) {
    absl::StrAppend(&members_, members_.empty() ? "" : ", ", Quoted(name), ": ", value);
  }

  std::string members_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_BENCH_BENCH_JSON_H_
