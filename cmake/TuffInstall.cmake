# install(), find_package(tuff) and pkg-config.

include(CMakePackageConfigHelpers)
set(installed tuff_static tuff_shared)
if(TARGET tuff_io_static)
  list(APPEND installed tuff_io_static tuff_io_shared)
endif()
install(TARGETS ${installed} EXPORT tuffTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/tuff DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(EXPORT tuffTargets NAMESPACE tuff:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tuff)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/tuffConfig.cmake.in ${PROJECT_BINARY_DIR}/tuffConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tuff)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tuffConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tuffConfig.cmake ${PROJECT_BINARY_DIR}/tuffConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/tuff)
# relative, so that the installation may be moved, or installed elsewhere than it was configured for
file(RELATIVE_PATH TUFF_INCLUDE_FROM_LIB ${CMAKE_INSTALL_FULL_LIBDIR} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
foreach(package IN ITEMS tuff tuff_io)
  if(TARGET ${package}_static)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/${package}.pc.in ${PROJECT_BINARY_DIR}/${package}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${package}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  endif()
endforeach()
if(TARGET tuff_command)
  install(TARGETS tuff_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
