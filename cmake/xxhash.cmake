# xxhash::xxhash, the checksums of what is kept on disk. Neither CMake nor the distributions have a
# module for it.
if(NOT TARGET xxhash::xxhash)
  pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
  add_library(xxhash::xxhash INTERFACE IMPORTED)
  target_link_libraries(xxhash::xxhash INTERFACE PkgConfig::XXHASH)
endif()
