#ifndef PTYCHOSERVE_TESTS_TEMPORARY_DIRECTORY_H_
#define PTYCHOSERVE_TESTS_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace ptychoserve {

// An empty directory that goes with this object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "ptychoserve_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      std::perror("mkdtemp");
      std::abort();
    }
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  // Names of the files, in order.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      files.push_back(entry.path().filename());
    }
    std::ranges::sort(files);
    return files;
  }

 private:
  std::string path_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_TEMPORARY_DIRECTORY_H_
