#ifndef PTYCHOSERVE_ENGINE_BASE_READ_FILE_H_
#define PTYCHOSERVE_ENGINE_BASE_READ_FILE_H_

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace ptychoserve {

// A small file as a whole. Errors: kInvalidArgument: "PATH: cannot be read: " and the system's
// reason, also of a folder.
inline absl::StatusOr<std::string> ReadFile(const std::string& path) {
  struct Closer {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "re"));
  std::string text;
  std::array<char, 4096> block;
  while (file != nullptr) {
    const std::size_t read = std::fread(block.data(), 1, block.size(), file.get());
    text.append(block.data(), read);
    if (read < block.size()) break;
  }
  if (file != nullptr && std::ferror(file.get()) == 0) return text;
  return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read: ", std::strerror(errno)));
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BASE_READ_FILE_H_
